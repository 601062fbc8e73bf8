"""The simple densities beside the flows, called experts, and the weights of all of them (stacking)."""
