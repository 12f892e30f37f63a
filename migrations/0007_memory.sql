-- The largest memory of an attempt in bytes; NULL where its journal does not say.
ALTER TABLE attempts ADD COLUMN memory_process_bytes INTEGER; -- resident, of the worker
ALTER TABLE attempts ADD COLUMN memory_device_bytes INTEGER;  -- held on the GPU
