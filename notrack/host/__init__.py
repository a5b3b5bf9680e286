"""Every touch of the system, behind one small interface that has a twin in memory."""
