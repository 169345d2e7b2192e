-- Keys of patients, for data keys that change hands.

-- name: keys_of
SELECT patient_id, wrapped FROM keys.patient_key WHERE patient_id = ANY (:patients)
