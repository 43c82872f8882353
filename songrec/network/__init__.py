"""The trained network: its file, where it computes, and how it embeds."""
