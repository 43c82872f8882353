"""One run over many songs: options, progress, worker processes, the stages."""
