"""One update: the losses, the image pools, the learning rate, the average of the weights; compiled."""
