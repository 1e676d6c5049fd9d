"""Layers and front ends that families share, named as FunASR names them; no engine, no family."""
