"""Pages as text: one HTML file with numbers and pictures. Who calls, writes it."""
