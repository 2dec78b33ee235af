"""Tables and figures. Needs no torch."""
