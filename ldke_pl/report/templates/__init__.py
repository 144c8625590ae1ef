"""Templates of the HTML report; a package, so that they are installed with the others' data files."""
