"""Labelled patterns -> networks -> model packages that ``spots`` reads; the home of torch."""
