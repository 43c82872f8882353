"""From an audio file to numbers. Arrays in, arrays out."""
