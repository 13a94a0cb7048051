"""The ablations: `sweep` says what is compared, `experiment` how one cell is carried out, `analysis` what it shows."""
