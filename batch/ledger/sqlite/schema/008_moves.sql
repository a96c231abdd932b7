-- Which files an order left: asked for each card of which a bureau tells.
CREATE INDEX order_moves_of ON order_moves (order_id);
