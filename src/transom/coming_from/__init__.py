"""What other gateways were told, made into files for Transom: text in, files and what was not carried out."""
