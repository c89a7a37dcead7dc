"""From files to items: labels, points, CSVs, and which items are held out."""
