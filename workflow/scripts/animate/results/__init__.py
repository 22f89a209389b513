"""What a run hands over: records, previews and pages."""
