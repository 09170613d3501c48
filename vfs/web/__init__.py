"""HTTP as plain values: what the faces that speak it read and say alike. Nothing here knows a face or an operation."""
