"""The parts of data-parallel fits: the shard of each process, the table made of all shards, and checkpoints."""
