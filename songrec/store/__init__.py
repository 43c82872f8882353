"""What is kept on disk: the folders of a library and its embedded database."""
