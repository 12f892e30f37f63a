-- Further scores of a pass; NULL where the journal is older than they are.
ALTER TABLE scores ADD COLUMN iou_frequency_weighted REAL;
ALTER TABLE scores ADD COLUMN miou_union REAL;         -- mmseg's mean, over classes with any union
ALTER TABLE validations ADD COLUMN iou_frequency_weighted REAL;
ALTER TABLE validations ADD COLUMN miou_union REAL;

DROP VIEW results;
CREATE VIEW results AS
SELECT c.experiment, c.cell, c.labels, c.run,
       r.dino_type, r.size, r.registers, r.weights, r.tune, r.lora_rank, r.decoder, r.dataset,
       r.seed, r.input_h, r.input_w, r.tokens_h, r.tokens_w, r.params_total, r.params_trained,
       p.eval_set, p.protocol, CASE WHEN p.corruption IS NULL THEN NULL ELSE e.suite END AS suite,
       p.corruption, p.severity, p.score, s.miou, s.classes_present, s.classes_total,
       s.pixel_accuracy, s.accuracy_mean, s.iou_frequency_weighted, s.miou_union,
       s.reference_metric, s.n_images, s.checkpoint_sha256, s.checkpoint_step, s.set_fingerprint,
       a.version, a.git, a.host, a.device, a.device_name
FROM cells c
JOIN experiments e ON e.experiment = c.experiment
JOIN cell_scores p ON p.experiment = c.experiment AND p.cell = c.cell
LEFT JOIN runs r ON r.run = c.run
LEFT JOIN scores s ON s.run = c.run AND s.score = p.score
LEFT JOIN attempts a ON a.run = s.run AND a.attempt = s.attempt;
