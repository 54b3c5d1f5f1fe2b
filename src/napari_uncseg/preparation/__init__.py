"""From raw images to a study: registration to T1c, the brain, one resampling, and a page to check it all by."""
