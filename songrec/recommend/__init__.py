"""From a question to an answer: look-up, ranking, variety."""
