"""Command lines and emitters. Nothing is imported here: ``graphs-opt --help`` must cost no more than click."""
