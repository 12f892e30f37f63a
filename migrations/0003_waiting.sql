-- Part of an epoch's time that training waited for data; NULL where the journal is older than it.
ALTER TABLE epoch_ends ADD COLUMN wait_ms INTEGER;

DROP VIEW epochs;
CREATE VIEW epochs AS
SELECT n.run, r.dino_type, r.size, r.weights, r.tune, r.lora_rank, r.decoder, r.dataset, r.seed,
       n.epoch, n.step, n.loss_mean, n.time_ms, n.wait_ms, v.split, v.miou, v.pixel_accuracy,
       v.accuracy_mean, v.reference_metric
FROM epoch_ends n
LEFT JOIN runs r ON r.run = n.run
LEFT JOIN validations v ON v.run = n.run AND v.step = n.step;
