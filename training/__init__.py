"""How the shipped network and projection were made; see README.md."""
