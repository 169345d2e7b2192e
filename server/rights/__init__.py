"""What a person may demand of the record as a whole: a copy, a correction, its restriction, its end."""
