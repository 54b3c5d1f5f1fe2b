"""Studies and predictions: from files to arrays and back, without torch and without Qt."""
