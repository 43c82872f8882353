"""Song-Recommender: find the songs in your own music that sound like one you name.

The root scripts are the stages of the road; this package holds what they share, a module
a noun. Data flows one way: songs -> specs -> slices -> arrays or vectors -> answer.
"""

__version__ = "0.1.0"
