"""From a study to a prediction: preparing the images, running the network, coming back onto the study's grid."""
