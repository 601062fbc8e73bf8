"""The parts of the variational fit: the target density that a user gives, and importance weights."""
