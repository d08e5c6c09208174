"""Documents that follow from the code: ``python -m docs`` writes them anew."""
