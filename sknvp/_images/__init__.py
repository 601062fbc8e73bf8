"""The parts of the density of images: pixels, their dtype, and the noise that spreads them."""
