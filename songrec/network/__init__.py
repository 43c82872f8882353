"""The trained network: its file, the device it runs on, the embedding of songs."""
