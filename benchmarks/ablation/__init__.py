"""The ablations: `sweep` says what is compared, `experiment` how a cell is carried out, `..report` what came out."""
