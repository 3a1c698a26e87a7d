"""Procedural street scenes: what `data_prep.synthetic` renders."""
