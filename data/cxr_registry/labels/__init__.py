"""Labels of findings from codes, columns and the text of reports."""
