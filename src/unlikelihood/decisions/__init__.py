"""From scores to decisions: conformal p-values, probabilities, prevalence and drift."""
