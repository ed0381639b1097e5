"""What a network's batch norms remember of training, held against what images bring them."""
