"""The formats of model files and the engines that run them."""
