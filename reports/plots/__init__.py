"""One file per figure; `reports.figures` holds the table of them."""
