"""How good recommendations are, beside other systems."""
