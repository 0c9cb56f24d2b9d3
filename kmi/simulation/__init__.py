"""`kmi simulate`: what each strategy would make of a pool of keys and a workload."""
