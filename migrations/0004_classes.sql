-- Names of classes; NULL where a run is older than they are.
ALTER TABLE runs ADD COLUMN classes TEXT;              -- JSON: one name a class

DROP VIEW per_class;
-- One row a score and class; `iou` is NULL where the class is absent from the ground truth.
CREATE VIEW per_class AS
SELECT s.run, r.dino_type, r.size, r.weights, r.tune, r.lora_rank, r.decoder, r.dataset, r.seed,
       s.score, s.eval_set, s.protocol, s.corruption, s.severity, k.key AS class_idx,
       json_extract(r.classes, '$[' || k.key || ']') AS class, k.value AS iou
FROM scores s
JOIN json_each(s.iou_per_class) k
LEFT JOIN runs r ON r.run = s.run;
