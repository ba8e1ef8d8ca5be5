"""The commands of graphs-calibrate, one module each, and how they show things."""
