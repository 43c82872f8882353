"""What is heard: from an audio file to numbers. Arrays in, arrays out."""
