-- What the line in `protocol` says, as JSON: mode, tta, input_px, select, reference_batch; NULL
-- where the journal is older than it.
ALTER TABLE cell_scores ADD COLUMN protocol_parts TEXT;
