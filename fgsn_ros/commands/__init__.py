"""One module for each command of `fgsn`."""
