"""Kept results of many trials to the tables, figures and pages of a study."""
