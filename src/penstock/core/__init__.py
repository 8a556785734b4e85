"""The words of Penstock as plain values: no I/O, standard library only."""
