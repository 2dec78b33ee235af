"""Which networks are measured: the tree, its table, designs that tell most. Needs no torch."""
