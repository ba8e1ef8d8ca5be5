"""What was measured. Nothing yet: every prediction stands on the targets' own numbers and is called THEORETICAL."""
